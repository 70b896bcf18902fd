/** The names that occur twice in one object of a JSON text, which JSON.parse would not tell. */
export function duplicateKeys(json: string): string[] {
  const duplicates: string[] = [];
  let at = 0;

  const text = (): string => {
    const start = at++;
    while (json[at] !== '"') at += json[at] === "\\" ? 2 : 1;
    return JSON.parse(json.slice(start, ++at)) as string;
  };
  const value = (): void => {
    const first = json[at];
    if (first === '"') {
      text();
    } else if (first === "{") {
      const seen = new Set<string>();
      at++;
      while (json[at] !== "}") {
        if (json[at] === ",") at++;
        const name = text();
        if (seen.has(name)) duplicates.push(name);
        seen.add(name);
        at++;
        value();
      }
      at++;
    } else if (first === "[") {
      at++;
      while (json[at] !== "]") {
        if (json[at] === ",") at++;
        value();
      }
      at++;
    } else {
      while (at < json.length && !",]}".includes(json[at] as string)) at++;
    }
  };

  value();
  return duplicates;
}
