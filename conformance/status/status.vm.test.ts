import { agreeWithEverything, agreeWithObstacles, agreeWithoutPrograms } from './agreeing.js'
import { nativeRows } from './rows.js'

agreeWithEverything(nativeRows)
agreeWithoutPrograms(nativeRows)
agreeWithObstacles(nativeRows)
