/** A name of a block device below /dev, of letters that no program takes for an option or a list. */
export function isDevicePath(path: string): boolean {
  return /^\/dev\/[A-Za-z0-9_][A-Za-z0-9_.:+@/-]{0,250}$/.test(path) && !/(^|\/)\.{1,2}(\/|$)|\/\//.test(path)
}
