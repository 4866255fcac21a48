# One refund a second, counted from its start; whoever finds no room is told so.
order="${1:-1}"

echo "refunded $order"
