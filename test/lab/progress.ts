/** Tells how far something is, in words. */
export type ProgressOf = (text: string) => void
