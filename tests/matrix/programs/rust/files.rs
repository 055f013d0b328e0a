// Rust's ways to files, on the folder of the first argument. Prints what they give.
use std::collections::hash_map::DefaultHasher;
use std::fs::{self, File, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::io::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

extern "C" {
    fn mmap(at: *mut u8, length: usize, protection: i32, flags: i32, fd: i32, offset: i64) -> *mut u8;
    fn munmap(at: *mut u8, length: usize) -> i32;
}

fn digest(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

fn walk(folder: &Path, names: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        names.push(format!("{:?} {:?} {}", entry.path(), entry.file_type()?, entry.metadata()?.len()));
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), names)?;
        }
    }
    Ok(())
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let (data, work) = (Path::new(&arguments[1]), Path::new(&arguments[2]));
    println!("read {:x}", digest(&fs::read(data.join("bytes_/big"))?));
    println!("text {}", fs::read_to_string(data.join("text/pairs"))?);
    let mut file = File::open(data.join("bytes_/b131073"))?;
    let mut piece = [0u8; 1000];
    file.read_exact_at(&mut piece, 65000)?;
    println!("at {:x} {}", digest(&piece), file.stream_position()?);
    file.seek(SeekFrom::End(-10))?;
    let mut rest = Vec::new();
    println!("end {} {:x}", file.read_to_end(&mut rest)?, digest(&rest));
    file.rewind()?;
    let mut two = [io::IoSliceMut::new(&mut piece)];
    println!("vectored {}", file.read_vectored(&mut two)?);
    let mut clone = file.try_clone()?;
    clone.seek(SeekFrom::Start(5))?;
    println!("shared {}", file.stream_position()?);
    let meta = file.metadata()?;
    println!("meta {} {:o} {} {} {}", meta.len(), meta.permissions().mode(), meta.mtime(), meta.mtime_nsec(), meta.is_file());
    unsafe {
        let at = mmap(std::ptr::null_mut(), 131073, 1, 2, file.as_raw_fd(), 0);
        println!("mapped {:x}", digest(std::slice::from_raw_parts(at, 131073)));
        munmap(at, 131073);
    }
    let lines = BufReader::new(File::open(data.join("text/table.tsv"))?).lines();
    println!("lines {}", lines.map(|line| line.unwrap().len()).sum::<usize>());
    let mut names = Vec::new();
    walk(&data.join("tree"), &mut names)?;
    names.sort();
    println!("walk {} {:x}", names.len(), digest(names.join("").as_bytes()));
    println!("copy {}", fs::copy(data.join("bytes_/big"), work.join("big"))?);
    let mut out = File::create(work.join("copied"))?;
    io::copy(&mut File::open(data.join("bytes_/b65537"))?, &mut out)?;
    out.flush()?;
    println!("canonical {:?} {}", data.join("tree/../text").canonicalize()?, data.join("none").exists());
    for (name, result) in [
        ("create", File::create(data.join("new")).map(|_| ())), ("append", OpenOptions::new().append(true).open(data.join("text/pairs")).map(|_| ())),
        ("remove", fs::remove_file(data.join("text/pairs"))), ("none", File::open(data.join("none")).map(|_| ())), ("all", fs::remove_dir_all(data.join("tree/d0"))),
        ("rename", fs::rename(data.join("text/pairs"), data.join("p"))), ("through", File::open(data.join("text/pairs/x")).map(|_| ())), ("set", fs::set_permissions(data.join("text/pairs"), fs::Permissions::from_mode(0o600))),
    ] {
        println!("{} {:?}", name, result.map_err(|error| error.raw_os_error()));
    }
    let threads: Vec<_> = (0..16).map(|i| {
        let path = data.join(format!("tree/many/{:04}", i * 10));
        let big = data.join("bytes_/b131072");
        std::thread::spawn(move || digest(&fs::read(path).unwrap()) ^ digest(&fs::read(big).unwrap()))
    }).collect();
    println!("threads {:x}", threads.into_iter().map(|thread| thread.join().unwrap()).fold(0u64, |a, b| a.wrapping_mul(31).wrapping_add(b)));
    let output = Command::new("sort").arg("-u").stdin(Stdio::from(File::open(data.join("text/words"))?)).current_dir(data.join("tree")).output()?;
    println!("child {}", String::from_utf8_lossy(&output.stdout));
    println!("cwd {}", String::from_utf8_lossy(&Command::new("cat").arg("private").current_dir(data.join("tree")).output()?.stdout));
    std::env::set_current_dir(data.join("tree/d0"))?;
    println!("here {:?} {}", std::env::current_dir()?, fs::read("e1/f1.txt")?.len());
    Ok(())
}
