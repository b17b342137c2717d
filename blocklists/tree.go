package blocklists

import (
	"archive/tar"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// members gives every regular file of a tar archive. Links, devices and names
// that lead out of the archive are reported and not read; nothing is unpacked to
// disk.
func (s *scan) members(file string, r io.Reader, each func(name string, r io.Reader) error) error {
	archive := tar.NewReader(r)
	for n := 0; ; n++ {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		s.file, s.line = file, 0
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			return s.broken(notTar(err, n))
		}
		if n >= s.limits.Members {
			return sourceErr(file, 0, refuseAll("more than %d members", s.limits.Members))
		}
		if err := s.ctx.Err(); err != nil {
			return err
		}
		name := file + "!/" + h.Name
		if why := memberReason(h.Name, h.Typeflag); why != "" {
			if err := s.refusedAt(name, 0, why, ""); err != nil {
				return err
			}
			continue
		}
		if h.Typeflag == tar.TypeDir || strings.HasSuffix(h.Name, "/") {
			continue
		}
		// A sparse member is larger than what the archive holds of it, so it has
		// a bound of its own.
		bounded := unpackedReader{archive, &meter{limits: s.limits}}
		if err := each(name, bounded); err != nil {
			return err
		}
	}
}

func notTar(err error, n int) error {
	if errors.Is(err, tar.ErrHeader) && n == 0 {
		return refuseAll("not a tar archive")
	}
	if errors.Is(err, tar.ErrHeader) {
		return refuseAll("a broken tar archive, after %d members", n)
	}
	return err
}

// memberReason says why a member must not be read.
func memberReason(name string, kind byte) Reason {
	if strings.ContainsAny(name, "\x00\\") || path.IsAbs(name) || !fs.ValidPath(path.Clean(name)) {
		return Outside
	}
	switch kind {
	case tar.TypeReg, tar.TypeDir, tar.TypeGNUSparse:
		return ""
	case tar.TypeLink, tar.TypeSymlink:
		return Link
	}
	return OtherMember
}

// folder gives every regular file below dir. Symbolic links are reported and
// not followed, and a name cannot lead out of it.
func (s *scan) folder(dir string, each func(name string, r io.Reader) error) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	n := 0
	return fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if n++; n > s.limits.Members {
			return sourceErr(dir, 0, refuseAll("more than %d members", s.limits.Members))
		}
		shown := filepath.Join(dir, name)
		switch {
		case d.IsDir():
			return s.ctx.Err()
		case d.Type()&fs.ModeSymlink != 0:
			return s.refusedAt(shown, 0, Link, "")
		case !d.Type().IsRegular():
			return s.refusedAt(shown, 0, OtherMember, "")
		}
		f, err := root.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		r, err := s.unpack(f)
		if err != nil {
			return sourceErr(shown, 0, err)
		}
		return each(shown, r)
	})
}
