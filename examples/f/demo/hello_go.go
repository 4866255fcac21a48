package inner

import "fmt"

// main says hello. Its first value is the result.
func main(name string) (any, error) {
	if name == "" {
		return nil, fmt.Errorf("whom shall I greet?")
	}
	return map[string]string{"greeting": "Hello, " + name + "!"}, nil
}
