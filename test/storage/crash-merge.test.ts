import { halfway, testCrashes } from './crash/crash.js'
import { mergeOperations } from './crash/operations.js'

testCrashes(mergeOperations, halfway)
