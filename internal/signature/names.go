package signature

import "strings"

// pyModules are the modules that come with Python, of all versions in use.
var pyModules = setOf(`
__future__ abc aifc annotationlib antigravity argparse array ast asynchat asyncio asyncore atexit audioop
base64 bdb binascii bisect builtins bz2 cProfile calendar cgi cgitb chunk cmath cmd code codecs codeop
collections colorsys compileall compression concurrent configparser contextlib contextvars copy copyreg crypt
csv ctypes curses dataclasses datetime dbm decimal difflib dis distutils doctest email encodings ensurepip
enum errno faulthandler fcntl filecmp fileinput fnmatch fractions ftplib functools gc genericpath getopt
getpass gettext glob graphlib grp gzip hashlib heapq hmac html http idlelib imaplib imghdr imp importlib
inspect io ipaddress itertools json keyword lib2to3 linecache locale logging lzma mailbox mailcap marshal math
mimetypes mmap modulefinder msilib msvcrt multiprocessing netrc nis nntplib nt ntpath nturl2path numbers
opcode operator optparse os ossaudiodev pathlib pdb pickle pickletools pipes pkgutil platform plistlib poplib
posix posixpath pprint profile pstats pty pwd py_compile pyclbr pydoc pydoc_data pyexpat queue quopri random
re readline reprlib resource rlcompleter runpy sched secrets select selectors shelve shlex shutil signal site
smtpd smtplib sndhdr socket socketserver spwd sqlite3 sre_compile sre_constants sre_parse ssl stat statistics
string stringprep struct subprocess sunau symtable sys sysconfig syslog tabnanny tarfile telnetlib tempfile
termios textwrap this threading time timeit tkinter token tokenize tomllib trace traceback tracemalloc tty
turtle turtledemo types typing unicodedata unittest urllib uu uuid venv warnings wave weakref webbrowser
winreg winsound wsgiref xdrlib xml xmlrpc zipapp zipfile zipimport zlib zoneinfo
`)

// nodeModules are the modules that come with Node, as they may be imported without node: before them.
var nodeModules = setOf(`
assert async_hooks buffer child_process cluster console constants crypto dgram diagnostics_channel dns domain
events fs http http2 https inspector module net os path perf_hooks process punycode querystring readline repl
stream string_decoder sys timers tls trace_events tty url util v8 vm wasi worker_threads zlib
`)

// distributions names the distributions of modules that are called otherwise.
var distributions = map[string]string{
	"Crypto":         "pycryptodome",
	"MySQLdb":        "mysqlclient",
	"OpenSSL":        "pyOpenSSL",
	"PIL":            "Pillow",
	"attr":           "attrs",
	"bs4":            "beautifulsoup4",
	"bson":           "pymongo",
	"cv2":            "opencv-python",
	"dateutil":       "python-dateutil",
	"discord":        "discord.py",
	"docx":           "python-docx",
	"dotenv":         "python-dotenv",
	"fitz":           "PyMuPDF",
	"git":            "GitPython",
	"github":         "PyGithub",
	"gitlab":         "python-gitlab",
	"jose":           "python-jose",
	"jwt":            "PyJWT",
	"ldap":           "python-ldap",
	"magic":          "python-magic",
	"markdown":       "Markdown",
	"multipart":      "python-multipart",
	"nacl":           "PyNaCl",
	"pkg_resources":  "setuptools",
	"pptx":           "python-pptx",
	"psycopg2":       "psycopg2-binary",
	"rest_framework": "djangorestframework",
	"serial":         "pyserial",
	"skimage":        "scikit-image",
	"sklearn":        "scikit-learn",
	"slugify":        "python-slugify",
	"snowflake":      "snowflake-connector-python",
	"telegram":       "python-telegram-bot",
	"umap":           "umap-learn",
	"usb":            "pyusb",
	"websocket":      "websocket-client",
	"win32api":       "pywin32",
	"yaml":           "PyYAML",
	"zmq":            "pyzmq",
}

func setOf(words string) map[string]bool {
	set := map[string]bool{}
	for _, w := range strings.Fields(words) {
		set[w] = true
	}
	return set
}
