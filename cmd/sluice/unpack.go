package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"strings"

	"sluice"
)

// maxTar is how many bytes a tar archive may have that came compressed: those
// of its entries, and of what stands around them.
const (
	maxTar   = maxUnpacked + maxEntries*1024
	tarBlock = 512
)

// unpacker gathers the entries of an archive within its bounds.
type unpacker struct {
	entries map[string][]byte
	room    int64
	count   int
}

// unpack reads every entry of an archive, zip, tar or compressed tar, into
// memory. It refuses names that lead out of it or stand twice in it, what is no
// file, and what is too large; whatever headers say of sizes is not believed.
func unpack(data []byte) (map[string][]byte, error) {
	u := &unpacker{entries: map[string][]byte{}, room: maxUnpacked}
	var err error
	switch {
	case bytes.HasPrefix(data, []byte{0x1f, 0x8b}):
		var plain []byte
		if plain, err = gunzip(data); err == nil {
			err = u.tar(plain)
		}
	case isTar(data):
		err = u.tar(data)
	default:
		err = u.zip(data)
	}
	return u.entries, err
}

// isTar looks for the mark that every tar archive of today has in its first header.
func isTar(data []byte) bool {
	const mark, at = "ustar", 257
	return len(data) > at+len(mark) && string(data[at:at+len(mark)]) == mark
}

func gunzip(data []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err == nil {
		data, err = io.ReadAll(io.LimitReader(r, maxTar+1))
	}
	switch {
	case err != nil:
		return nil, sluice.Invalid("FILE", "is compressed, and cannot be read: %v", err)
	case len(data) > maxTar:
		return nil, errUnpacked
	case !isTar(data):
		return nil, sluice.Invalid("FILE", "is compressed, and what is in it is no tar archive")
	}
	return data, nil
}

var (
	errUnpacked = sluice.Errorf(sluice.CodeTooLarge, "the archive unpacks to more than %d MiB", maxUnpacked>>20)
	errEntries  = sluice.Errorf(sluice.CodeTooLarge, "the archive has more than %s entries", grouped(maxEntries))
)

func (u *unpacker) zip(data []byte) error {
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return sluice.Invalid("FILE", "is no zip archive, and no tar archive: %v", err)
	}
	if len(z.File) > maxEntries {
		return errEntries
	}
	for _, f := range z.File {
		if strings.HasSuffix(f.Name, "/") && fs.ValidPath(strings.TrimSuffix(f.Name, "/")) {
			continue // a folder
		}
		if err := u.check(f.Name, f.Mode().IsRegular()); err != nil {
			return err
		}
		r, err := f.Open()
		if err != nil {
			return unreadable(f.Name, err)
		}
		err = u.add(f.Name, r)
		r.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func (u *unpacker) tar(data []byte) error {
	t := tar.NewReader(bytes.NewReader(data))
	for last := ""; ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) && len(data)%tarBlock != 0 {
			err = io.ErrUnexpectedEOF // it was cut in what fills up an entry
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && last == "":
			return sluice.Invalid("FILE", "is no tar archive: %v", err)
		case err != nil:
			return sluice.Invalid("FILE", "is a tar archive that ends or breaks after the entry %s: %v", last, err)
		}
		if u.count++; u.count > maxEntries {
			return errEntries
		}
		last = cut(clean(h.Name), 100)
		name := strings.TrimPrefix(h.Name, "./")
		if h.Typeflag == tar.TypeDir || h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		if err := u.check(name, h.Typeflag == tar.TypeReg); err != nil {
			return err
		}
		if err := u.add(name, t); err != nil {
			return err
		}
	}
}

// check refuses names that lead out of the archive or stand twice in it, and
// what is no file.
func (u *unpacker) check(name string, regular bool) error {
	shown := cut(clean(name), 100)
	switch _, twice := u.entries[name]; {
	case !fs.ValidPath(name) || strings.ContainsAny(name, "\\\x00"):
		return sluice.Invalid("FILE", "has an entry whose name is no plain path: %s", shown)
	case !regular:
		return sluice.Invalid("FILE", "has an entry that is no file: %s", shown)
	case twice:
		return sluice.Invalid("FILE", "has two entries of one name: %s", shown)
	}
	return nil
}

func unreadable(name string, err error) error {
	return sluice.Invalid("FILE", "has an entry that cannot be read: %s: %v", cut(clean(name), 100), err)
}

// add unpacks an entry as far as there is room.
func (u *unpacker) add(name string, r io.Reader) error {
	most := min(int64(maxFileBytes), u.room)
	data, err := io.ReadAll(io.LimitReader(r, most+1))
	switch {
	case int64(len(data)) > most && most < maxFileBytes:
		return errUnpacked
	case int64(len(data)) > most:
		return sluice.Errorf(sluice.CodeTooLarge, "%s in the archive is larger than %d MiB", cut(clean(name), 100), maxFileBytes>>20)
	case err != nil:
		return unreadable(name, err)
	}
	u.room -= int64(len(data))
	u.entries[name] = data
	return nil
}
