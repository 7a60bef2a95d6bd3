import { pino } from 'pino'
import { Store } from '../../../coordinator/store/store.js'

// Opens a store and closes it again: the program that tests kill.
const store = await Store.open(process.argv[2] ?? '', pino({ level: 'silent' }))
store.close()
