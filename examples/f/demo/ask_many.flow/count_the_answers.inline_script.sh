# Says what has become of the calls.
asked="$1"
refused="$2"

echo "$(( asked - refused )) of $asked were answered"
