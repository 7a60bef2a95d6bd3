/** A column that holds one of these words. */
export const words = (...all: string[]) => `IN (${all.map(word => `'${word}'`).join(', ')})`
