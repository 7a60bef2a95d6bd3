// Markdown out of plain values. PURE.

export const heading = (level: number, text: string) => `${'#'.repeat(level)} ${text}`

/** Text for a table cell: on one line, with nothing that ends the cell. */
export const cell = (text: string) =>
  text
    .replaceAll('|', '\\|')
    .replaceAll('<', '&lt;')
    .replace(/\s*\n\s*/g, ' ')

export function table(titles: string[], rows: string[][]): string {
  const line = (cells: string[]) => `| ${cells.join(' | ')} |`
  const plain = (text: string) =>
    /[[`]/.test(text) ? text.replace(/\s*\n\s*/g, ' ').replaceAll('|', '\\|') : cell(text)
  return [line(titles), line(titles.map(() => '---')), ...rows.map(row => line(row.map(plain)))].join('\n')
}

/** A reference page: title, where it comes from, introduction, body. */
export function page(title: string, source: string, introduction: string, body: string): string {
  return `# ${title}

<!-- Written by \`npm run docs\` from ${source}: edit there. -->

${introduction}

${body}
`
}
