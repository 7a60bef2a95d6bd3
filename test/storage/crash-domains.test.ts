import { halfway, testCrashes } from './crash/crash.js'
import { otherOperations } from './crash/operations.js'

testCrashes(otherOperations, halfway)
