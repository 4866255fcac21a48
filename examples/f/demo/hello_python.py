def main(name: str = "world", times: int = 1):
    """Says hello. What main returns is the result."""
    print(f"Hello, {name}!")
    return {"greetings": [f"Hello, {name}!"] * times}
