def main(cents: int = 250, rate: float = 1.19):
    return round(cents * rate)
