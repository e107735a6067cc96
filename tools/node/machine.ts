import { createFiles } from '../../shared/exec/files.js'
import { createRunner } from '../../shared/exec/run.js'
import { createNetlink } from '../../shared/netlink/driver.js'

/**
 * What this process looks and changes with, chosen as a plugin chooses it (shared/entry.ts): netlink and tools, with
 * PODWIRE_NO_NETLINK tools alone.
 */
export function ownMeans(env: Readonly<Record<string, string | undefined>> = process.env) {
  return {
    run: createRunner(env['PATH'] ? { callerPath: env['PATH'] } : {}),
    files: createFiles(),
    netlink: env['PODWIRE_NO_NETLINK'] ? undefined : createNetlink(),
  }
}
