import type { Suite } from '../../storage/crash/harness.js'
import { blockOperations } from './block-operations.js'
import { newBlockWorld } from './block-world.js'

export const blockSuite: Suite = {
  operations: blockOperations,
  newWorld: () => newBlockWorld(),
  child: 'test/host/storage/block-child.ts'
}
