# Asks the demo API about one item. Needs nothing but bash.
item="$1"
url="${2:-http://127.0.0.1:8810}"

server="${url#http://}"
exec 3<>"/dev/tcp/${server%:*}/${server##*:}" || exit 1
printf 'GET /call HTTP/1.0\r\nHost: %s\r\n\r\n' "$server" >&3
mapfile -t answer <&3

if [[ "${answer[0]}" != *" 200 "* ]]; then
  echo "The API refused to answer about $item: ${answer[-1]}" >&2
  exit 1
fi
echo "$item: ${answer[-1]}"
