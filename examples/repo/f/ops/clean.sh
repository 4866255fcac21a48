days="${1:-30}"

echo "cleaned what is older than $days days"
