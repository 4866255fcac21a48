package worker

import "bytes"

const (
	// streamMark begins a line of standard output that is a piece of the job's
	// result stream; line feeds of the piece are written as \n.
	streamMark = "WM_STREAM: "
	// maxStreamLine is how much of such a line is kept until its end is known.
	maxStreamLine = 64 << 10
)

// streamLines takes the lines of the result stream out of standard output.
type streamLines struct {
	head   []byte // of a line that may yet begin with the mark
	inside bool   // in a line with the mark, which has begun
	other  bool   // in a line without
	line   []byte
	log    []byte
	stream []byte
}

// feed returns what of p, and of what was held back, belongs to the log and to
// the stream; both are valid until the next call. Only a beginning of the mark
// at the beginning of a line is held back of the log.
func (x *streamLines) feed(p []byte) (log, stream []byte) {
	if x.plain(p) {
		return p, nil
	}
	x.log, x.stream = x.log[:0], x.stream[:0]
	for len(p) > 0 {
		switch {
		case x.inside:
			p = x.piece(p)
		case x.other:
			n := bytes.IndexByte(p, '\n') + 1
			x.other = n == 0
			if n == 0 {
				n = len(p)
			}
			x.log = append(x.log, p[:n]...)
			p = p[n:]
		default:
			n := 0
			for n < len(p) && len(x.head) < len(streamMark) && p[n] == streamMark[len(x.head)] {
				x.head = append(x.head, p[n])
				n++
			}
			p = p[n:]
			switch {
			case len(x.head) == len(streamMark):
				x.inside, x.head = true, x.head[:0]
			case len(p) > 0:
				x.other = true
				x.log = append(x.log, x.head...)
				x.head = x.head[:0]
			}
		}
	}
	return x.log, x.stream
}

// plain reports whether p has nothing to do with the stream, and notes how it ends.
func (x *streamLines) plain(p []byte) bool {
	if x.inside || len(x.head) > 0 || bytes.Contains(p, []byte(streamMark)) {
		return false
	}
	last := bytes.LastIndexByte(p, '\n') + 1
	if rest := p[last:]; (last > 0 || !x.other) && len(rest) > 0 && bytes.HasPrefix([]byte(streamMark), rest) {
		return false
	}
	if last > 0 || len(p) > 0 {
		x.other = last < len(p)
	}
	return true
}

// piece reads on in a line of the stream and returns what follows it.
func (x *streamLines) piece(p []byte) []byte {
	n := bytes.IndexByte(p, '\n')
	if n >= 0 {
		x.line = append(x.line, p[:n]...)
		x.emit(len(x.line))
		x.inside = false
		return p[n+1:]
	}
	x.line = append(x.line, p...)
	if n := len(x.line); n > maxStreamLine {
		if x.line[n-1] == '\\' { // its n may follow
			n--
		}
		x.emit(n)
	}
	return nil
}

func (x *streamLines) emit(n int) {
	x.stream = append(x.stream, bytes.ReplaceAll(x.line[:n], []byte(`\n`), []byte("\n"))...)
	x.line = append(x.line[:0], x.line[n:]...)
}

// flush returns what is left at the end of the output.
func (x *streamLines) flush() (log, stream []byte) {
	x.log, x.stream = append(x.log[:0], x.head...), x.stream[:0]
	x.emit(len(x.line))
	x.head, x.inside = nil, false
	return x.log, x.stream
}
