import { halfway, testCrashes } from './crash/crash.js'
import { volumeOperations } from './crash/operations.js'

testCrashes(volumeOperations, halfway)
