package configs

import (
	"bufio"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"strings"
)

//go:embed sample
var embedded embed.FS

// Sample is the shipped configuration: a whole school to start from.
func Sample() fs.FS {
	sub, err := fs.Sub(embedded, "sample")
	if err != nil {
		panic(err) // the folder is embedded above; a build without it does not compile
	}
	return sub
}

// folder is where the files of one configuration lie, and how decisions name them.
type folder struct {
	fsys fs.FS  // the embedded sample, nil for the disk
	dir  string // the folder on the disk
}

// place makes a file name complete: relative ones lie in the folder. Those of
// the embedded sample (its data folder) are left to the working directory.
func (f folder) place(name string) string {
	if name == "" || filepath.IsAbs(name) || f.fsys != nil {
		return name
	}
	return filepath.Join(f.dir, name)
}

// read gives a whole file, bounded.
func (f folder) read(name string) ([]byte, error) {
	if f.fsys != nil {
		return readBounded(func() (fs.File, error) { return f.fsys.Open(path.Clean(name)) })
	}
	return readBounded(func() (fs.File, error) { return os.Open(f.place(name)) })
}

func readBounded(open func() (fs.File, error)) ([]byte, error) {
	file, err := open()
	if err != nil {
		return nil, plain(err)
	}
	defer file.Close() // read only: nothing can be lost
	info, err := file.Stat()
	switch {
	case err != nil:
		return nil, plain(err)
	case info.IsDir():
		return nil, errors.New("it is a folder (name the file in it)")
	case !info.Mode().IsRegular():
		return nil, errors.New("it is no ordinary file")
	}
	text, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, plain(err)
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("larger than %d bytes, which no file written by hand is", maxFile)
	}
	return text, nil
}

// plain drops the file name from an error: the message around it has it.
func plain(err error) error {
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		if errors.Is(pe.Err, fs.ErrNotExist) {
			return errors.New("there is no such file")
		}
		return pe.Err
	}
	return err
}

// nameservers reads the resolvers that a resolv.conf names, at most eight.
func nameservers(r io.Reader) (servers []netip.AddrPort) {
	s := bufio.NewScanner(io.LimitReader(r, 64<<10))
	for s.Scan() && len(servers) < 8 {
		fields := strings.Fields(s.Text())
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(fields[1]); err == nil {
			servers = append(servers, netip.AddrPortFrom(a.Unmap(), 53))
		}
	}
	return servers
}
