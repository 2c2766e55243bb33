// Text whose contrast with what is behind it is below WCAG's 4.5, with its ratio.
() => {
  const parse = (text) => {
    const values = text.match(/[\d.]+/g).map(Number);
    return values.length < 4 ? [...values, 1] : values;
  };
  const linear = (part) => {
    const share = part / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  };
  const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour[3] > 0) return colour;
    }
    return [255, 255, 255, 1];
  };
  // On a heat map a cell's own colour is behind its text: the plot's own test looks at that.
  const onCells = ["rgb(253, 253, 253)", "rgb(11, 13, 16)"];
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const hidden = element.closest("script, style, noscript, option") || !element.checkVisibility();
    if (hidden || !walker.currentNode.textContent.trim()) continue;
    const style = getComputedStyle(element);
    const ink = element.closest("svg") ? style.fill : style.color;
    if (onCells.includes(ink)) continue;
    const [a, b] = [light(parse(ink)), light(behind(element))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) found.push([element.textContent.trim().slice(0, 40), ratio]);
  }
  return found;
}
