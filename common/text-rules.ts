// What a string from outside may contain. PURE.

// Controls, format characters (right-to-left override, zero-width …), private use and unassigned ones,
// line and paragraph separators, lone surrogates. U+FFFD stands where the sender's bytes were not UTF-8.
const notInNames = /[\p{C}\p{Zl}\p{Zp}\uFFFD]/u
// Text for people may have lines, and joiners inside emoji; never what reorders or hides the rest.
const notInText = /[\p{Cs}\p{Co}\p{Cn}\uFFFD\u200E\u200F\u202A-\u202E\u2066-\u2069]|(?![\n\t])\p{Cc}/u

/** Length as people count it: one for an emoji that takes two UTF-16 units. */
export const characters = (text: string) => [...text].length

/** What is wrong with a name for people, or null. */
export function wrongName(text: string, most: number): string | null {
  if (text === '') return 'must not be empty'
  if (characters(text) > most) return `must be at most ${most} characters`
  if (notInNames.test(text)) return 'must not contain control, invisible or undecodable characters'
  if (text.trim() !== text) return 'must not begin or end with a space'
  return null
}

/** What is wrong with a description or comment, or null. */
export function wrongText(text: string, most: number): string | null {
  if (characters(text) > most) return `must be at most ${most} characters`
  if (notInText.test(text)) return 'must not contain control, reordering or undecodable characters'
  return null
}

/** wire spelling (camelCase) → the spelling of the proto files, which callers know. */
export const snakeCase = (name: string) => name.replace(/[A-Z]/g, letter => `_${letter.toLowerCase()}`)
