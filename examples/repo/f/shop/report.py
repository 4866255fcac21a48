import os
import urllib.request


def main():
    """Reads a variable as the wmill package does."""
    url = f"{os.environ['BASE_INTERNAL_URL']}/api/w/{os.environ['WM_WORKSPACE']}/variables/get_value/f/shop/currency"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {os.environ['WM_TOKEN']}"})
    with urllib.request.urlopen(request) as answer:
        return "prices are in " + answer.read().decode().strip('"')
