# Says hello. The last line of the output is the result.
name="${1:-world}"

echo "Hello, $name!"
