import type { Run } from '../exec/command.js'
import { CniError, codes } from '../values/errors.js'

/** @throws code 101 without arping (of iputils), 100 when it cannot ask */
export function answersArp(run: Run, address: string, link: string, netns: string | undefined): boolean {
  const enter = netns === undefined ? [] : ['nsenter', `--net=${netns}`]
  const argv = [...enter, 'arping', '-D', '-c', '2', '-w', '2', '-I', link, address]
  const { status, failure, stdout, stderr } = run({ argv: argv as unknown as [string] })
  if (status === 0) return false
  if (status === 1 && stdout.includes('reply from')) return true
  if (failure === 'ENOENT' || status === programMissing) {
    throw new CniError(codes.toolMissing, `cannot ask who has ${address}: the program "arping" is not installed`, {
      fix: 'install the package iputils-arping, or turn addressConflictDetection off',
    })
  }
  const details = `command: ${argv.join(' ')}\nstderr: ${stderr.trim()}`
  throw new CniError(codes.operationFailed, `cannot ask who has ${address}`, { details })
}

// --- internal

/** What nsenter ends with when it does not find the program. */
const programMissing = 127
