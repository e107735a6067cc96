import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Host } from './host.js'

/** Where test delegates live in a host; a directory for CNI_PATH. */
export const scriptDirectory = '/run/delegates'

/** Installs shell scripts (name to text) as plugins in a host's script directory. */
export function installScripts(host: Host, scripts: Record<string, string>, mode = 0o755): void {
  mkdirSync(host.path(scriptDirectory), { recursive: true })
  for (const [name, text] of Object.entries(scripts)) {
    const path = join(host.path(scriptDirectory), name)
    writeFileSync(path, `#!/bin/sh\n${text}\n`)
    chmodSync(path, mode)
  }
}
