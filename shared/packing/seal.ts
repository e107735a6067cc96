import { createHash } from 'node:crypto'
import { appendFileSync, readFileSync } from 'node:fs'
import { sealBytes, sealMark } from '../exec/same-build.js'

/** Ends a finished binary with what tells a copy of it from another build; whoever loads it does not read so far. */
export function seal(file: string): void {
  const hash = createHash('sha256').update(readFileSync(file)).digest('hex')
  appendFileSync(file, `${sealMark}${hash}`.slice(0, sealBytes).padEnd(sealBytes))
}
