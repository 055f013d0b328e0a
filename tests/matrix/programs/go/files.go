// Go's ways to files, on the folder of the first argument. Prints what they give.
package main

import (
	"bufio"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"sync"
	"syscall"
)

func must[T any](value T, err error) T {
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(3)
	}
	return value
}

func main() {
	data, work := os.Args[1], os.Args[2]
	at := func(name string) string { return filepath.Join(data, name) }
	fmt.Printf("read %x\n", md5.Sum(must(os.ReadFile(at("bytes_/big")))))
	file := must(os.Open(at("bytes_/b131073")))
	piece := make([]byte, 1000)
	fmt.Println(must(file.ReadAt(piece, 65000)), must(file.Seek(-10, io.SeekEnd)), len(must(io.ReadAll(file))))
	info := must(file.Stat())
	fmt.Println("stat", info.Size(), info.Mode(), info.ModTime().UnixNano(), info.Name())
	must(file.Seek(0, io.SeekStart))
	mapped := must(syscall.Mmap(int(file.Fd()), 0, 131073, syscall.PROT_READ, syscall.MAP_PRIVATE))
	fmt.Printf("mapped %x\n", md5.Sum(mapped))
	lines := 0
	for scanner := bufio.NewScanner(must(os.Open(at("text/table.tsv")))); scanner.Scan(); lines++ {
	}
	fmt.Println("lines", lines)
	var names []string
	filepath.WalkDir(at("tree"), func(path string, entry fs.DirEntry, err error) error {
		names = append(names, fmt.Sprintf("%q %v %v", path, entry.IsDir(), err))
		return nil
	})
	sort.Strings(names)
	fmt.Printf("walk %d %x\n", len(names), md5.Sum([]byte(fmt.Sprint(names))))
	out := must(os.Create(filepath.Join(work, "copied")))
	fmt.Println("copy", must(io.Copy(out, must(os.Open(at("bytes_/big"))))))
	fmt.Println("glob", len(must(filepath.Glob(at("tree/many/00*")))), must(filepath.EvalSymlinks(at("tree/../text"))))
	attempt := func(name string, err error) {
		var number syscall.Errno
		errors.As(err, &number)
		fmt.Println(name, int(number), err)
	}
	_, err := os.Open(at("none"))
	attempt("none", err)
	_, err = os.Create(at("new"))
	attempt("create", err)
	attempt("remove", os.Remove(at("text/pairs")))
	attempt("mkdir", os.Mkdir(at("x"), 0o755))
	attempt("rename", os.Rename(at("text/pairs"), at("p")))
	_, err = os.ReadDir(at("text/pairs"))
	attempt("list", err)
	var group sync.WaitGroup
	sums := make([][16]byte, 32)
	for i := range sums {
		group.Add(1)
		go func(i int) {
			defer group.Done()
			sums[i] = md5.Sum(must(os.ReadFile(at(fmt.Sprintf("tree/many/%04d", i*5)))))
		}(i)
	}
	group.Wait()
	fmt.Printf("goroutines %x\n", md5.Sum([]byte(fmt.Sprint(sums))))
	child := exec.Command("sort", "-u")
	child.Stdin = must(os.Open(at("text/words")))
	fmt.Println("child", string(must(child.Output())))
	child = exec.Command("cat", "private")
	child.Dir = at("tree")
	fmt.Println("cwd", string(must(child.Output())))
	os.Chdir(at("tree/d0"))
	fmt.Println(must(os.Getwd()), len(must(os.ReadFile("e1/f1.txt"))))
}
