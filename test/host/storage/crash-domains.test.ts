import { everyEnding, testCrashes } from '../../storage/crash/crash.js'
import { dataOperations, operations, volumeOperations } from '../../storage/crash/operations.js'

const others = Object.keys(operations).filter(
  name => ![...volumeOperations, ...dataOperations].includes(name)
)
testCrashes(others, everyEnding())
