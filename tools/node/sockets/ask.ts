import { errnoOf } from '../../../shared/values/errno.js'
import type { FileReader } from '../reader.js'
import type { Names } from './answer.js'
import { criNames } from './cri.js'
import { podmanNames } from './podman.js'

/** What the runtime on a socket calls its containers; where nothing is learned of it, why is noted. */
export async function namesAt(socket: string, reader: FileReader): Promise<Names> {
  const signal = AbortSignal.timeout(patience)
  const faults: string[] = []
  for (const ask of [podmanNames, criNames]) {
    try {
      return await ask(socket, signal)
    } catch (thrown) {
      const why = signal.aborted ? `did not answer within ${patience / 1000} s` : absence[errnoOf(thrown) ?? '']
      if (why !== undefined) {
        reader.note(socket, why)
        return []
      }
      faults.push(thrown instanceof Error ? thrown.message : String(thrown))
    }
  }
  const [podman, cri] = faults
  reader.note(socket, `is the socket of neither Podman (${podman}) nor a CRI (${cri})`)
  return []
}

// --- internal

/** Milliseconds. */
const patience = 2000

/** Why nobody can be asked, by the errno name. */
const absence: Partial<Record<string, string>> = {
  ENOENT: 'is not there',
  ENOTDIR: 'is not there',
  EACCES: 'may not be used by this user',
  EPERM: 'may not be used by this user',
  ECONNREFUSED: 'is no socket that somebody listens at',
  EAGAIN: 'has more callers than its runtime takes',
  EINVAL: 'is too long for the path of a socket',
  ENAMETOOLONG: 'is too long for the path of a socket',
}
