import { halfway, testCrashes } from './crash/crash.js'
import { copyOperations } from './crash/operations.js'

testCrashes(copyOperations, halfway)
