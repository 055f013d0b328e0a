"""Projects, repositories, databases and objects."""

import os
import shutil
import subprocess

from case import fixture, write

REPOSITORY = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))


def run(script, folder):
    subprocess.run(["bash", "-ec", script], cwd=folder, check=True, timeout=300, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                   env=dict(os.environ, LC_ALL="C.UTF-8", TZ="UTC", GIT_AUTHOR_NAME="a", GIT_AUTHOR_EMAIL="a@b", GIT_COMMITTER_NAME="a", GIT_COMMITTER_EMAIL="a@b",
                            GIT_AUTHOR_DATE="2020-01-01T00:00:00Z", GIT_COMMITTER_DATE="2020-01-01T00:00:00Z", GIT_CONFIG_GLOBAL="/dev/null"))


@fixture
def project(folder):
    """A small program in C with a library, a make file, generated headers and a test."""
    write(folder, "include/words.h", "#pragma once\n#include <stddef.h>\nsize_t words_in(const char* path);\n")
    write(folder, "src/words.c", '#include "words.h"\n#include <ctype.h>\n#include <stdio.h>\nsize_t words_in(const char* path) {\n  FILE* f = fopen(path, "r");\n  size_t n = 0;\n  int in = 0, c;\n'
          '  if (!f) return 0;\n  while ((c = getc(f)) != EOF) {\n    if (isspace(c)) in = 0;\n    else if (!in) in = 1, n++;\n  }\n  fclose(f);\n  return n;\n}\n')
    write(folder, "src/main.c", '#include <stdio.h>\n#include "config.h"\n#include "words.h"\nint main(int argc, char** argv) {\n  for (int i = 1; i < argc; i++) printf("%s %zu " VERSION "\\n", argv[i], words_in(argv[i]));\n  return argc > 1 ? 0 : 2;\n}\n')
    write(folder, "src/plus.cc", '#include <filesystem>\n#include <fstream>\n#include <iostream>\n#include <iterator>\n#include <vector>\nint main(int argc, char** argv) {\n  namespace fs = std::filesystem;\n  fs::path d = argv[1];\n  std::ifstream in(d / "text/pairs");\n'
          '  std::vector<std::string> w{std::istream_iterator<std::string>(in), {}};\n  std::cout << w.size() << " " << fs::file_size(d / "bytes_/big") << " " << fs::is_directory(d / "tree") << "\\n";\n  size_t n = 0;\n  for (auto& e : fs::recursive_directory_iterator(d / "tree")) n += e.is_regular_file() ? e.file_size() : 0;\n'
          '  std::cout << n << " " << fs::canonical(d / "tree/../text") << " " << fs::exists(d / "none") << "\\n";\n  std::ifstream b(d / "bytes_/b65537", std::ios::binary);\n  b.seekg(-3, std::ios::end);\n  std::cout << b.tellg() << " " << b.get() << "\\n";\n  std::filebuf f;\n  std::cout << (f.open(d / "bytes_/b4097", std::ios::in) != nullptr) << " " << f.pubseekoff(0, std::ios::end) << "\\n";\n'
          '  std::error_code e;\n  fs::copy(d / "tree/d1", fs::path(argv[2]) / "d1", fs::copy_options::recursive, e);\n  std::cout << e << "\\n";\n  fs::copy_file(d / "bytes_/b131073", fs::path(argv[2]) / "copied", e);\n  std::cout << e << " " << fs::remove(d / "text/pairs", e) << e.value() << "\\n";\n  std::ofstream out(d / "new");\n  std::cout << out.is_open() << " " << (fs::status(d / "tree/bin/hello").permissions() == fs::perms(0755)) << "\\n";\n}\n')
    write(folder, "version", "1.2\n")
    write(folder, "Makefile", "S := $(dir $(abspath $(lastword $(MAKEFILE_LIST))))\nVPATH := $(S)src\nCFLAGS := -O1 -I$(S)include -I. -ffile-prefix-map=$(S)=\nSOURCES := $(notdir $(wildcard $(S)src/*.c))\ninclude $(S)rules.mk\n")
    write(folder, "rules.mk", "all: words libwords.so\nwords: $(SOURCES:.c=.o)\n\t$(CC) -o $@ $^\nlibwords.so: words.pic.o\n\t$(CC) -shared -o $@ $^\n%.pic.o: %.c\n\t$(CC) $(CFLAGS) -fPIC -c -o $@ $<\n%.o: %.c config.h\n\t$(CC) $(CFLAGS) -MMD -c -o $@ $<\n"
          "config.h: version\n\t@echo '#define VERSION \"'$$(cat $<)'\"' > $@\nversion: $(S)version\n\t@cp $< $@\ncheck: words\n\t./words $(S)Makefile $(S)src/main.c\n-include *.d\n")
    write(folder, "CMakeLists.txt", "cmake_minimum_required(VERSION 3.20)\nproject(words C)\nfile(STRINGS version VERSION_TEXT)\nconfigure_file(config.h.in config.h)\nfile(GLOB sources CONFIGURE_DEPENDS src/*.c)\nadd_executable(words ${sources})\n"
          "target_include_directories(words PRIVATE include ${CMAKE_CURRENT_BINARY_DIR})\nenable_testing()\nadd_test(NAME words COMMAND words ${CMAKE_CURRENT_SOURCE_DIR}/version)\ninstall(TARGETS words)\ninstall(DIRECTORY include DESTINATION .)\n")
    write(folder, "config.h.in", '#define VERSION "${VERSION_TEXT}"\n')


@fixture
def objects(folder):
    """What a compiler makes of the project, on the mount: objects, archives, libraries, programs, a core."""
    source = folder + ".source"
    os.mkdir(source)
    try:
        project(source)
        run(f"S={source}; echo '#define VERSION \"1.2\"' > config.h; gcc -g -O1 -ffile-prefix-map=$S=. -I$S/include -I. -c $S/src/words.c $S/src/main.c; ar rcsD libwords.a words.o; gcc -shared -fPIC -g -I$S/include -Wl,-soname,libwords.so -o libwords.so $S/src/words.c;"
            "gcc -o words main.o libwords.a; gcc -o linked main.o -L. -lwords -Wl,-rpath,'$ORIGIN'; gcc -static -o static main.o words.o; cp $S/src/*.c . ; chmod 755 words linked static", folder)
    finally:
        shutil.rmtree(source)


objects.needs = ("gcc", "ar")


@fixture
def repository(folder):
    """A repository with packs, loose objects, branches, a tag, a rename; a bare one beside it."""
    run("""git init -q -b main work; cd work; mkdir -p a/b; for i in $(seq 60); do echo "line $i" >> a/b/file; echo $i > a/$i.txt; git add .; git commit -qm "step $i"; done
    git mv a/1.txt a/one.txt; chmod +x a/2.txt; ln -s one.txt a/link; git rm -q --cached a/3.txt; rm a/link; git add -A; git commit -qm 'rename and mode'; git tag -a v1 -m 'a tag'; git gc -q; git checkout -q -b side; echo side > side; git add side; git commit -qm side; git checkout -q main; echo more >> a/b/file; git commit -qam more
    git merge -q side -m merge; cd ..; git clone -q --bare work bare.git; rm -f work/.git/hooks/*""", folder)


repository.needs = ("git",)
repository.keep_times = True      # git's index knows them


@fixture
def database(folder):
    run("""sqlite3 a.db "pragma page_size=4096; create table t (i integer primary key, w text, v real); create index w on t (w);
        with recursive n(i) as (select 1 union all select i + 1 from n where i < 30000) insert into t select i, 'word' || (i * 7919 % 1000), i * 1.5 from n; create virtual table f using fts5(x); insert into f values ('the quick brown fox'), ('a lazy dog');"
        sqlite3 wal.db "pragma journal_mode=wal; create table t (x); insert into t values (1), (2);"; sqlite3 b.db "create table u (i, y); insert into u values (5, 'five'), (6, 'six');"
        printf 'i,w\\n1,one\\n2,two\\n' > a.csv; echo 'select count(*), sum(v) from t;' > q.sql""", folder)


database.needs = ("sqlite3",)


@fixture
def penstock(folder):
    """The sources of Penstock itself."""
    subprocess.run(f"git -C {REPOSITORY} ls-files -z | grep -zv -e ^tests/azurite | (cd {REPOSITORY}; xargs -0 tar -cf - --ignore-failed-read) | tar -xf - -C {folder}", shell=True, check=True, timeout=120)


penstock.needs = ("git",)


@fixture
def amalgamation(folder):
    """SQLite's source as one file, as a module of Go carries it."""
    cache = os.path.expanduser("~/.cache/penstock-matrix/go")
    module = "github.com/mattn/go-sqlite3@v1.14.22"
    subprocess.run(["go", "mod", "download", module], cwd="/", check=True, timeout=120, capture_output=True,
                   env=dict(os.environ, GOPATH=cache, GOFLAGS="-modcacherw", GOTOOLCHAIN="local"))
    for name in ("sqlite3-binding.c", "sqlite3-binding.h", "sqlite3ext.h"):
        shutil.copy(os.path.join(cache, "pkg/mod", module, name), folder)


amalgamation.needs = ("go",)
