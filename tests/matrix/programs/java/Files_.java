// Java's ways to files, on the folder args[0]. Prints what they give.
import java.io.*;
import java.nio.*;
import java.nio.channels.*;
import java.nio.charset.StandardCharsets;
import java.nio.file.*;
import java.nio.file.attribute.*;
import java.security.MessageDigest;
import java.util.*;
import java.util.concurrent.*;
import java.util.stream.*;
import java.util.zip.*;

public class Files_ {
  static Path data, work;

  static String md5(byte[] bytes) throws Exception {
    return HexFormat.of().formatHex(MessageDigest.getInstance("MD5").digest(bytes));
  }
  static void say(Object... words) { System.out.println(Arrays.stream(words).map(String::valueOf).collect(Collectors.joining(" "))); }
  static void attempt(String name, Callable<Object> call) {
    try { say(name, call.call()); } catch (Exception e) { say(name, e.getClass().getName(), e.getMessage()); }
  }

  static void streams() throws Exception {
    try (InputStream in = new FileInputStream(data.resolve("bytes_/big").toFile())) {
      say("stream", in.available(), in.skip(1000), md5(in.readNBytes(5000)), md5(in.readAllBytes()));
    }
    try (BufferedReader in = new BufferedReader(new FileReader(data.resolve("text/table.tsv").toFile()))) {
      say("lines", in.lines().filter(l -> l.contains("kappa")).count());
    }
    try (RandomAccessFile in = new RandomAccessFile(data.resolve("bytes_/b65537").toFile(), "r")) {
      in.seek(65000);
      say("random", in.readInt(), in.getFilePointer(), in.length(), in.readUnsignedByte());
    }
    try (Scanner in = new Scanner(data.resolve("text/pairs"))) { say("scanner", in.next(), in.next()); }
    File folder = data.resolve("tree").toFile();
    String[] names = folder.list();
    Arrays.sort(names);
    say("File", String.join(",", names), folder.isDirectory(), new File(folder, "private").length(), new File(folder, "none").exists(),
        new File(folder, "bin/hello").canExecute(), new File(folder, "private").lastModified(), new File(folder, "../text").getCanonicalPath());
  }

  static void channels() throws Exception {
    Path big = data.resolve("bytes_/big");
    try (FileChannel in = FileChannel.open(big)) {
      MappedByteBuffer map = in.map(FileChannel.MapMode.READ_ONLY, 4096 * 3 + 17, 1 << 20);
      byte[] bytes = new byte[1 << 20];
      map.get(bytes);
      say("map", md5(bytes), in.map(FileChannel.MapMode.PRIVATE, 0, in.size()).remaining());
      try (FileChannel out = FileChannel.open(work.resolve("sent"), StandardOpenOption.CREATE, StandardOpenOption.WRITE)) {
        say("transferTo", in.transferTo(100, 5_000_000, out), in.position());
        say("transferFrom", out.transferFrom(in, 5_000_000, 100_000), in.position());
      }
      ByteBuffer direct = ByteBuffer.allocateDirect(100000);
      say("read", in.read(direct, 777), in.read(new ByteBuffer[] {ByteBuffer.allocate(10), ByteBuffer.allocateDirect(3000)}), in.position());
      attempt("write", () -> in.write(ByteBuffer.allocate(1)));
      attempt("lock", () -> in.tryLock(0, 10, true) != null);
    }
    attempt("open for writing", () -> FileChannel.open(big, StandardOpenOption.WRITE));
    attempt("map for writing", () -> new RandomAccessFile(big.toFile(), "rw"));
    try (AsynchronousFileChannel in = AsynchronousFileChannel.open(big)) {
      ByteBuffer bytes = ByteBuffer.allocate(70000);
      say("asynchronous", in.read(bytes, 1234).get(20, TimeUnit.SECONDS), md5(bytes.array()));
    }
  }

  static void files() throws Exception {
    say("bytes", md5(Files.readAllBytes(data.resolve("text/latin1"))), Files.readString(data.resolve("text/pairs")).length(), Files.readAllLines(data.resolve("text/words")).size());
    try (Stream<Path> walk = Files.walk(data.resolve("tree"))) { say("walk", walk.map(Path::toString).sorted().collect(Collectors.joining()).hashCode()); }
    try (Stream<Path> found = Files.find(data.resolve("tree"), 9, (p, a) -> a.isRegularFile() && a.size() > 60)) { say("find", found.count()); }
    try (DirectoryStream<Path> some = Files.newDirectoryStream(data.resolve("tree/many"), "00*")) { int n = 0; for (Path p : some) n += Files.size(p); say("glob", n); }
    PosixFileAttributes a = Files.readAttributes(data.resolve("tree/private"), PosixFileAttributes.class);
    say("attributes", a.size(), a.lastModifiedTime(), PosixFilePermissions.toString(a.permissions()), a.isDirectory(), a.owner().getName());
    Files.copy(data.resolve("bytes_/b131073"), work.resolve("copied"), StandardCopyOption.COPY_ATTRIBUTES);
    Files.copy(data.resolve("text/words"), new FileOutputStream(work.resolve("words").toFile()));
    say("same", Files.mismatch(data.resolve("bytes_/b131073"), work.resolve("copied")), Files.isSameFile(data, data.resolve("tree/..")), Files.probeContentType(data.resolve("text/pairs")));
    say("access", Files.isReadable(data.resolve("text/pairs")), Files.isWritable(data.resolve("text/pairs")), Files.isExecutable(data.resolve("tree/bin/hello")), Files.notExists(data.resolve("x")));
    say("real", data.resolve("tree/../text/pairs").toRealPath());
    attempt("none", () -> Files.readString(data.resolve("none")));
    attempt("delete", () -> { Files.delete(data.resolve("text/pairs")); return 0; });
    attempt("new", () -> Files.writeString(data.resolve("text/new"), "x"));
    attempt("directory", () -> Files.createDirectory(data.resolve("x")));
    attempt("move", () -> Files.move(data.resolve("text/pairs"), data.resolve("y")));
  }

  static void rest() throws Exception {
    ExecutorService pool = Executors.newFixedThreadPool(8);
    List<Future<String>> parts = new ArrayList<>();
    for (int i = 0; i < 64; i++) {
      final int at = i;
      parts.add(pool.submit(() -> md5(Files.readAllBytes(data.resolve("tree/many/" + String.format("%04d", at * 4)))) + md5(Files.readAllBytes(data.resolve("bytes_/b131072")))));
    }
    int hash = 0;
    for (Future<String> part : parts) hash = hash * 31 + part.get().hashCode();
    pool.shutdown();
    say("threads", hash);
    Process child = new ProcessBuilder("sort", "-u").redirectInput(data.resolve("text/words").toFile()).redirectError(ProcessBuilder.Redirect.INHERIT).start();
    say("child", new String(child.getInputStream().readAllBytes(), StandardCharsets.UTF_8), child.waitFor());
    say("cwd", new String(new ProcessBuilder("cat", "private").directory(data.resolve("tree").toFile()).start().getInputStream().readAllBytes()));
    try (InputStream in = Files_.class.getResourceAsStream("/note.txt")) { say("resource", new String(in.readAllBytes())); }
  }

  public static void main(String[] args) throws Exception {
    data = Path.of(args[0]);
    work = Path.of(args[1]);
    streams();
    channels();
    files();
    rest();
  }
}
