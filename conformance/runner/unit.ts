import type { TestProjectInlineConfiguration } from 'vitest/config'
import { nodeFlags } from '../../shared/heap/flags.js'
import { patience } from './patience.js'
import { plainNodePlugin, virtualModulesPlugin } from './vite.js'

/** The unit tests: they need no root, no tools but a shell's, no built binaries. */
export const unit = {
  plugins: [virtualModulesPlugin()],
  test: {
    name: 'unit',
    include: ['{plugins,ipam,shared,tools}/**/*.test.ts'],
    testTimeout: patience,
    hookTimeout: patience,
    execArgv: nodeFlags,
    // One process for many files, so that each module is loaded once: half of the time.
    isolate: false,
  },
} satisfies TestProjectInlineConfiguration

/** What watches processes, locks and namespaces on system/node.ts holds on system/node.plain.ts, too. */
export const unitPlain = {
  plugins: [plainNodePlugin(), virtualModulesPlugin()],
  test: {
    name: 'unit-plain',
    include: ['shared/exec/{spawn,together,lock}.test.ts', 'shared/system/namespaces.test.ts'],
    testTimeout: patience,
    hookTimeout: patience,
  },
} satisfies TestProjectInlineConfiguration
