def main(said: list):
    return "; ".join(said)
