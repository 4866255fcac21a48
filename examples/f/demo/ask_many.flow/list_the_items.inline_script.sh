# Makes a list of items. A file result.json is the result, read as JSON.
count="${1:-12}"

printf '[' > result.json
for i in $(seq "$count"); do
  (( i > 1 )) && printf ',' >> result.json
  printf '"item %d"' "$i" >> result.json
done
printf ']' >> result.json
