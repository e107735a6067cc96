import { realpathSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import type { Host } from './host.js'
import { systemCommands } from './locations.js'

/**
 * Takes commands away from everything that runs in the host, whatever PATH it has; each may be found in several
 * directories.
 */
export async function uninstall(host: Host, ...commands: string[]): Promise<void> {
  const found = commands.flatMap(systemCommands).map((path) => join(realpathSync(dirname(path)), basename(path)))
  for (const [directory, paths] of Map.groupBy(new Set(found), dirname)) {
    const own = `/run/over${directory}`
    await host.output(['mkdir', '-p', `${own}/upper`, `${own}/work`])
    const layers = `lowerdir=${directory},upperdir=${own}/upper,workdir=${own}/work`
    await host.output(['mount', '-t', 'overlay', 'overlay', '-o', layers, directory])
    await host.output(['rm', ...paths])
  }
}
