import { operations } from './operations.js'
import { worldAt } from './world.js'

// Runs one operation in a process of its own, so that it can be killed at a crash point.
const [, , name = '', root = ''] = process.argv
const operation = operations[name]
if (!operation) throw new Error(`no operation ${name}`)
await operation.run(worldAt(root))
