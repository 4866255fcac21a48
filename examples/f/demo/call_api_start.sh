# Calls the demo API once. At most 10 of these are launched within a second.
# Needs nothing but bash, which opens the connection itself.
url="${1:-http://127.0.0.1:8810}"

server="${url#http://}"
exec 3<>"/dev/tcp/${server%:*}/${server##*:}" || exit 1
printf 'GET /call HTTP/1.0\r\nHost: %s\r\n\r\n' "$server" >&3
mapfile -t answer <&3

echo "${answer[0]%$'\r'}"
if [[ "${answer[0]}" != *" 200 "* ]]; then
  echo "The API refused the call: ${answer[-1]}" >&2
  exit 1
fi
echo "${answer[-1]}"
