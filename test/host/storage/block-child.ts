import { readFile } from 'node:fs/promises'
import { blockOperations } from './block-operations.js'
import { blockWorldAt } from './block-world.js'

// Runs one operation on block storage in a process of its own, so that it can be killed at a crash point.
const [, , name = '', root = ''] = process.argv
const operation = blockOperations[name]
if (!operation) throw new Error(`no operation ${name}`)
await operation.run(blockWorldAt(root, (await readFile(`${root}/devices`, 'utf8')).split('\n')))
