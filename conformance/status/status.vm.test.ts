import { agreeWithEverything, agreeWithoutPrograms, agreeWithRoom } from './agreeing.js'
import { nativeRows } from './rows.js'

agreeWithEverything(nativeRows)
agreeWithoutPrograms(nativeRows)
agreeWithRoom(nativeRows)
