name="${1:-you}"

echo "Hello, $name"
