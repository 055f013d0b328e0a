// A Go program over a folder: its runtime makes system calls itself. Built without libc and, with -tags cgo, with it.
package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"sync"
	"syscall"
)

var folder string

func show(what string, values ...interface{}) { fmt.Println(append([]interface{}{what}, values...)...) }

func digest(data []byte) string { return fmt.Sprintf("%d %x", len(data), sha256.Sum256(data)) }

func readFile(name string) {
	data, err := os.ReadFile(filepath.Join(folder, name))
	show("ReadFile", name, digest(data), err == nil, os.IsNotExist(err))
}

func lists() {
	entries, err := os.ReadDir(folder)
	for _, entry := range entries {
		info, _ := entry.Info()
		show("ReadDir", entry.Name(), entry.IsDir(), entry.Type(), info.Size(), info.ModTime().UnixNano())
	}
	show("ReadDir", err)
	opened, _ := os.Open(filepath.Join(folder, "train"))
	var names []string
	for {
		some, err := opened.Readdirnames(7)
		names = append(names, some...)
		if err != nil {
			break
		}
	}
	sort.Strings(names)
	show("Readdirnames", names, opened.Close())
	err = filepath.Walk(folder, func(path string, info os.FileInfo, err error) error {
		relative, _ := filepath.Rel(folder, path)
		show("Walk", relative, info.IsDir() || info.Size() >= 0, err)
		return nil
	})
	show("Walk", err)
	found, err := filepath.Glob(filepath.Join(folder, "tree/*/e1/*.txt"))
	show("Glob", len(found), err)
}

func copies() {
	file, err := os.Open(filepath.Join(folder, "big.bin"))
	if err != nil {
		show("Open", err)
		return
	}
	defer file.Close()
	hash := sha256.New()
	n, err := io.Copy(hash, file)
	show("Copy", n, fmt.Sprintf("%x", hash.Sum(nil)), err)
	byFd, _ := file.Stat()
	byName, _ := os.Stat(file.Name())
	show("SameFile", os.SameFile(byFd, byName), byFd.ModTime().Equal(byName.ModTime()), byFd.Size())
	mapped, err := syscall.Mmap(int(file.Fd()), 4096, 100000, syscall.PROT_READ, syscall.MAP_SHARED)
	show("Mmap", digest(mapped), err)
	part := make([]byte, 1000)
	_, err = file.ReadAt(part, 12345)
	show("ReadAt", digest(part), err)
	target, _ := os.CreateTemp("", "copy")
	defer os.Remove(target.Name())
	file.Seek(0, io.SeekStart)
	n, err = io.Copy(target, file) // copy_file_range, sendfile or splice
	copied, _ := os.ReadFile(target.Name())
	show("to a file", n, digest(copied), err)
}

func many() {
	var wait sync.WaitGroup
	results := make([]string, 64)
	for i := range results {
		wait.Add(1)
		go func(i int) {
			defer wait.Done()
			for j := 0; j < 20; j++ {
				name := filepath.Join(folder, fmt.Sprintf("train/%04d.bin", (i+j)%40))
				data, err := os.ReadFile(name)
				info, _ := os.Stat(name)
				results[i] = fmt.Sprint(digest(data), err, info.Size() == int64(len(data)))
			}
		}(i)
	}
	wait.Wait()
	for i, result := range results {
		show("goroutine", i, result)
	}
}

func commands() {
	for _, argv := range [][]string{{"cat", filepath.Join(folder, "tree/d0/e0/leaf.txt")}, {"cat", "e2/leaf.txt"},
		{"pwd"}, {"ls"}, {filepath.Join(folder, "script.sh"), "a word"}, {filepath.Join(folder, "program"), "x"}} {
		command := exec.Command(argv[0], argv[1:]...)
		command.Dir = filepath.Join(folder, "tree/d1")
		output, err := command.CombinedOutput()
		show("command", string(bytes.ReplaceAll(output, []byte(folder), []byte("@"))), err)
	}
}

func main() {
	folder = os.Args[1]
	for _, name := range []string{"text.txt", "train/0000.bin", "train/0007.bin", "none"} {
		readFile(name)
	}
	lists()
	copies()
	many()
	commands()
	show("Chdir", os.Chdir(filepath.Join(folder, "tree")))
	here, err := os.Getwd()
	relative, _ := filepath.Rel(folder, here)
	show("Getwd", relative, err)
	data, err := os.ReadFile("../text.txt")
	show("ReadFile", digest(data), err)
	os.Exit(7)
}
