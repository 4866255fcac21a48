package inner

func main(prices []int) (interface{}, error) {
	sum := 0
	for _, p := range prices {
		sum += p
	}
	return sum, nil
}
