"""Programs in several languages: sources of programs/, what they import, compiled ones, all on the mount."""

import os
import shutil
import subprocess

from case import fixture, write

PROGRAMS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "programs")


def build(folder, *argv, **env):
    subprocess.run(argv, cwd=folder, check=True, timeout=300, env=dict(os.environ, **env))


def sources(language, folder):
    shutil.copytree(os.path.join(PROGRAMS, language), folder, dirs_exist_ok=True)


@fixture
def perl(folder):
    sources("perl", folder)
    write(folder, "value.pl", "6 * 7;\n")
    write(folder, "value2.pl", "'required';\n")
    write(folder, "lib/Covered/Thing.pm", "package Covered::Thing; use Exporter 'import'; our @EXPORT_OK = ('thing'); sub thing { 'thing of ' . __FILE__ } 1;\n__DATA__\nline of data\n")
    write(folder, "taint.pl", "#!/usr/bin/perl -T\nuse lib '/run/matrix/data/perl/lib'; use Covered::Thing 'thing'; print thing(), \"\\n\"; print scalar <DATA>;\n__DATA__\nmine\n", 0o755)


@fixture
def node(folder):
    sources("node", folder)
    write(folder, "module/index.js", "module.exports = { answer: require('./part').part * 6, where: __dirname };\n")
    write(folder, "module/part.js", "exports.part = 7;\n")
    write(folder, "module/package.json", '{"name": "covered", "main": "index.js"}\n')
    write(folder, "data.json", '{"list": [1, 2, 3]}\n')
    write(folder, "esm.mjs", "import { readFileSync } from 'node:fs'; import data from './deep/other.mjs'; export default data + readFileSync(new URL('./data.json', import.meta.url)).length;\n")
    write(folder, "deep/other.mjs", "export default 'other ';\n")
    write(folder, "node_modules/pack/package.json", '{"name": "pack", "exports": {".": "./lib.js"}}\n')
    write(folder, "node_modules/pack/lib.js", "module.exports = 'pack of ' + __filename;\n")


@fixture
def java(folder):
    sources("java", folder)
    os.mkdir(os.path.join(folder, "classes"))
    build(folder, "javac", "-d", "classes", "Files_.java")
    write(folder, "classes/note.txt", "a resource\n")
    build(folder, "jar", "--create", "--file", "files.jar", "--main-class", "Files_", "-C", "classes", ".")


java.needs = ("javac", "jar")


@fixture
def rust(folder):
    sources("rust", folder)
    build(folder, "rustc", "-O", "--edition", "2021", "files.rs", "-o", "files")


rust.needs = ("rustc",)


@fixture
def go(folder):
    sources("go", folder)
    cache = os.path.expanduser("~/.cache/go-build")
    for name, cgo in (("static", "0"), ("cgo", "1")):
        build(folder, "go", "build", "-o", name, "files.go", CGO_ENABLED=cgo, GOCACHE=cache, GOFLAGS="", GO111MODULE="off", GOTOOLCHAIN="local")


go.needs = ("go",)


@fixture
def scripts(folder):
    write(folder, "a.rb", "require_relative 'b'; D = ARGV[0]\nputs File.read(D + '/text/pairs').size, IO.readlines(D + '/text/words').uniq.sort.join(' '), Dir.glob(D + '/tree/**/f1.txt').sort.size, Dir.children(D + '/tree/many').size\n"
          "puts File.stat(D + '/tree/private').mode.to_s(8), File.mtime(D + '/tree/private').to_i, B, IO.copy_stream(D + '/bytes_/big', 'big')\n"
          "begin; File.write(D + '/new', 'x'); rescue => e; puts e.class; end\nFile.open(D + '/bytes_/b65537', 'rb') { |f| f.seek(-5, IO::SEEK_END); puts f.read.bytes.join(','), f.pread(4, 9).bytes.join(',') }\n"
          "Dir.chdir(D + '/tree') { puts Dir.pwd, File.read('private'), `cat private` }\nputs Thread.new { File.binread(D + '/bytes_/b131072').sum }.value, DATA.read\n__END__\nof the script\n")
    write(folder, "b.rb", "B = 'from ' + __FILE__\n")
    write(folder, "a.lua", "package.path = arg[1] .. '/scripts/?.lua'\nlocal m = require('m')\nprint(m.name)\nlocal n = 0 for l in io.lines(arg[1] .. '/text/table.tsv') do n = n + #l end print(n)\n"
          "local f = assert(io.open(arg[1] .. '/bytes_/b65537', 'rb')) print(f:seek('end'), f:seek('set', 70), f:read(5):byte(1, -1)) print(#f:read('a')) f:close()\nprint(io.open(arg[1] .. '/none')) print(io.open(arg[1] .. '/x', 'w'))\n"
          "print(dofile(arg[1] .. '/scripts/m.lua').name, loadfile(arg[1] .. '/scripts/none.lua')) io.input(arg[1] .. '/text/pairs') print(io.read('l', 'n', 'a')) print(io.popen('cat ' .. arg[1] .. '/text/pairs'):read('a'))\n")
    write(folder, "m.lua", "return { name = 'm of ' .. (...  or 'nobody') }\n")
    write(folder, "a.php", "<?php $d = $argv[1]; echo strlen(file_get_contents(\"$d/text/pairs\")), ' ', count(file(\"$d/text/words\")), ' ', md5_file(\"$d/bytes_/big\"), ' ', filesize(\"$d/tree/private\"), ' ', decoct(fileperms(\"$d/tree/private\")), \"\\n\";\n"
          "$f = fopen(\"$d/bytes_/b65537\", 'rb'); fseek($f, -7, SEEK_END); echo bin2hex(fread($f, 100)), ' ', feof($f) ? 'eof' : '', ' ', ftell($f), \"\\n\"; echo flock($f, LOCK_SH) ? 'locked' : 'not', \"\\n\"; $n = scandir(\"$d/tree/many\"); echo count($n), \"\\n\";\n"
          "foreach (new RecursiveIteratorIterator(new RecursiveDirectoryIterator(\"$d/tree/d0\", FilesystemIterator::SKIP_DOTS)) as $p) $all[] = (string)$p; sort($all); echo md5(join($all)), ' ', copy(\"$d/bytes_/b131073\", 'copied') ? 'copied' : '', ' ', is_writable(\"$d/text/pairs\") ? 'w' : 'ro', ' ', realpath(\"$d/tree/../text\"), \"\\n\";\n"
          "include \"$d/scripts/b.php\"; echo @file_put_contents(\"$d/new\", 'x') === false ? error_get_last()['message'] : 'written', \"\\n\"; readfile(\"$d/text/pairs\"); chdir(\"$d/tree\"); echo getcwd(), file_get_contents('private'), `cat private`; echo stream_copy_to_stream(fopen(\"$d/bytes_/big\", 'r'), fopen(getenv('W') . '/big', 'w')), \"\\n\";\n")
    write(folder, "b.php", "<?php echo 'included ', __FILE__, \"\\n\";\n")
    write(folder, "a.tcl", "set d [lindex $argv 0]; source $d/scripts/b.tcl; set f [open $d/text/pairs]; puts [read $f]; seek $f 3; puts [gets $f]; puts [tell $f]; close $f; puts [lsort [glob -tails -directory $d/tree/d0 *]]; puts [file size $d/tree/private]; file stat $d/tree/private s; puts $s(mtime); file copy $d/bytes_/b4097 c; puts [catch {open $d/new w} m]; puts $m; cd $d/tree; puts [pwd]; puts [exec cat private]; "
          "set f [open $d/bytes_/b65537 rb]; fcopy $f [open $env(W)/fc wb]; puts [file exists $d/none]; puts [exec sort -u < $d/text/words]\n")
    write(folder, "b.tcl", "puts \"sourced [file tail [info script]]\"\n")
    write(folder, "a.awk", "#!/usr/bin/awk -f\n{ n += NF } END { print n, FILENAME }\n", 0o755)
    write(folder, "a.sed", "#!/bin/sed -nf\n1p\n$=\n", 0o755)
    write(folder, "a.py", "import os, sys\nsys.path.insert(0, os.path.dirname(__file__))\nimport helper\nprint(helper.__file__, __file__, os.getcwd() == os.environ['W'], open(os.path.dirname(__file__) + '/../text/pairs').read())\n", 0o755)
    write(folder, "helper.py", "value = 1\n")
    write(folder, "env.sh", "#!/usr/bin/env -S bash -e\necho \"$0 $BASH_SOURCE $*\"; cat \"${0%/*}/../text/pairs\" | head -n 1; exec \"${0%/*}/a.awk\" \"${0%/*}/../text/pairs\"\n", 0o755)
    write(folder, "a.jq", "def twice: . * 2; map(twice) | add\n")
    write(folder, "list.json", "[1, 2, 3, 39]\n")
    write(folder, "a.m4", "define(`there', `include(/run/matrix/data/text/pairs)')dnl\nthere`'sinclude(none)undivert(/run/matrix/data/text/one_byte)\n")
    write(folder, "a.xml", "<?xml version='1.0'?><!DOCTYPE a [<!ENTITY e SYSTEM 'part.xml'>]><a><b i='1'>x</b>&e;</a>\n")
    write(folder, "part.xml", "<c>of the part</c>\n")
    write(folder, "page.1", ".TH PAGE 1\n.SH NAME\npage \\- of a manual\n.SH TEXT\n.so /run/matrix/data/scripts/more.1\n")
    write(folder, "more.1", "more text\n")
    write(folder, "flat.1", ".TH FLAT 1\n.SH NAME\nflat \\- includes nothing\n")
