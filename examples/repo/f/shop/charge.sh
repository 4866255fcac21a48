# The bank takes two payments of a shop at once, and waits a second after each.
shop="$1"
cents="${2:-100}"

echo "charged $cents to $shop"
