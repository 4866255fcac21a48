order="$1"

echo "shop-of-$order"
