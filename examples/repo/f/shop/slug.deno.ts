export function main(title: string = "Green Tea") {
  return title.toLowerCase().replaceAll(" ", "-");
}
